"""The broker without protocols or sockets: one log, the views derived from it, and the parts that append to it.

Every package of ours imports this one first, so that the choice between compiled and source modules is made here.
`uncompiled_because` says why the hot modules run from source; it is empty when they run compiled.
"""

from core.compiled import choose

uncompiled_because = choose()
