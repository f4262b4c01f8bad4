"""The stages of the workflow: settings, inputs and code of each rule's jobs; `table.STAGES` lists them all."""
