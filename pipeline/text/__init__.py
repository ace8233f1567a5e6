"""Files -> blocks of lines -> token ids."""
