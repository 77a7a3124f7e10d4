"""The pages of a run as Jinja templates: `base.html`, and on it report, model card and checklists."""
