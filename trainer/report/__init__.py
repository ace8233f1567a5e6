"""The report of a training run: MODEL/report.html, one file that needs no network.

__main__.py   is the command
write.py      gathers all and writes the page
sources.py    finds what the page is made of: the metrics, the dataset, the words and the curves
words.py      opens the vectors of a model, whichever of its files has them, and finds neighbours
curves.py     reads the curves of a run from TensorBoard's files
corpus.py     computes what is shown of the corpus: ranks, coverage and lengths of lines
facts.py      puts the numbers of a run into words
settings.py   lists the settings, marks those that are no defaults, and writes the commands that repeat the run
word_map.py   places the most frequent words on a plane, in groups
tsne.py       is the method for that
plots.py      describes the plots for the plotting library
page.py       puts all of it into HTML, with page.html, page.css and page.js

The plotting library is Plotly. Its script is a part of the page, so the page has 5 MB.
"""
