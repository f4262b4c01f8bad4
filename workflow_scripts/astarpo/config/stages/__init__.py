"""The stages of the workflow: what each rule's jobs are given. `table.STAGES` is the table, a module for each part."""
