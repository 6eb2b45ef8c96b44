"""The nouns of Metier and their rules: pure, standard library only."""
