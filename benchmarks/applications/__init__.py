"""One application, written with each library as its documentation teaches: GET one item, GET the first, POST."""
