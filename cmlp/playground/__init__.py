"""The live page: experiments in a browser whose training is this package's own.

server       a small server on this machine: addresses, what may come in, what goes out
page         the conversation with one open page, and the pace of its training
messages     the two kinds of messages, and what they hold
experiment   one training as the page shows it: settings, net, pictures, the way back
settings     what the page's controls stand at, checked
points       points of the plane: drawn by formula, by the mouse, or read from a table
digits_page  the conversation with a page of handwritten digits
conversation what the conversations have in common
digits       one training on digits as the page shows it; images: digits that were drawn
nets         nets for images, written as a text
program      the Python program that does what the page has done
static       the page itself: plain modules without a build step

The parts but `server` and `page` need nothing but the package; those two need starlette, uvicorn
and websockets (``pip install cmlp[playground]``).  Of the package this imports everything but the
command line, estimators and models; only the command line imports it.
"""
