"""Models, measures and suites found by their files; building, cards, published numbers."""
