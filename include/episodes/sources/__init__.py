"""Where episodes come from: each source delivers a dataset as a folder in the shape of the Kaggle dataset's files."""
