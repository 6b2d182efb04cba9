"""One figure a function, and the toolbox that they share."""
