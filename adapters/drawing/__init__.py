"""Pictures as SVG and PNG: what needs the extra `spotfsm[draw]`.

Graphviz, as the pygraphviz wheel bundles it, places boxes whose sizes are given; it never sees a text or a font. Text
is measured in one pinned font, Source Sans Pro, from its own wheel, and each piece of it is told its width, so that the
picture stands as drawn in whatever font a reader has. resvg turns SVG into PNG with that same font and no other.
"""
