"""The files of a run: settings, history, reports of its stages. Nothing here imports TensorFlow."""
