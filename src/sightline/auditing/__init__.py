"""What an audit of a data set is made of: its pictures, what was found in each, and the figures over all of them."""
