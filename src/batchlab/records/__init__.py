"""The data classes that all other packages share; they depend on no other package."""
