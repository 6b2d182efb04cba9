"""From a suite file to cells: contestants x frames x seeds, checked before anything runs."""
