"""From a job file to a planned dataset folder, and the models that commands name."""
