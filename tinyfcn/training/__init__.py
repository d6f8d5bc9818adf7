"""What a training run needs around model, loss and optimizer; ``examples/train_voc.py`` shows it.

``trainer`` is the loop, ``evaluation`` the scores of a model on a data set, ``checkpoint`` and
``run_folder`` what lies on disk, ``options`` the command line of the example.
"""
