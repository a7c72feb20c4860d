"""Pictures of results: one file a kind, for matplotlib (`plot`, `figure`) and for plotly (`interactive`).

`plot(data, ax)` draws one checkpoint into an Axes and returns its artists, `figure(data)` lays out all
checkpoints on the same scales, `interactive(data)` is the same for a browser. None of them computes, saves
or touches pyplot. `data` is a Dataset as `geomlab.results.open_results` returns it.
"""
