"""A run as a page: tables, figures and findings from its records alone."""
