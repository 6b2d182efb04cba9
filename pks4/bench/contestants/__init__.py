"""What there is: models, measures and suites by their files; building, cards, published numbers."""
