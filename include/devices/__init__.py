"""The devices that models compute on: which there are, who has them, and what was used of them."""
