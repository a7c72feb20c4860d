"""A folder of results drawn: summary.json, tables, figures and the report, from the store alone."""

from geomlab.render.folder import DRAWN, Rendered, drawings, render, render_comparison
from geomlab.report.summary_table import summary_table

__all__ = ["DRAWN", "Rendered", "drawings", "render", "render_comparison", "summary_table"]
