"""The topics of an advice: each file tells the sentences of one of them."""
