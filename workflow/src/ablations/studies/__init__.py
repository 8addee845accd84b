"""The four studies; each module measures one trial of one variant."""
