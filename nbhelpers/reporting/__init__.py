"""What goes out of a run, from its files alone: nothing here computes a result.

`run_facts` reads a run; `flow` counts where its images and films went; `topic` words that statements share;
`topics_data`, `topics_methods`, `topics_results` what the run says on each topic, `limitations` what stands against
it, `statements` all of these by name (with `statements.yaml`, fixed words); `checklists` CLAIM 2024 and TRIPOD+AI
(their items in YAML); `model_card`; `flow_diagram`; `handout` all that is handed in; `report` the run at a glance (its
words in `report.yaml`); `answers` its questions with answer and evidence; `figure_cells` where each figure was made;
`release` the archive for a supplement; `pages` the HTML pages, from `templates/`.

May import every stage's package and what lies below; nothing imports it but the command line.
"""
