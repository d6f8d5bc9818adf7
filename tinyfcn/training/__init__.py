"""What a training needs around model, loss and optimizer; ``examples/train_voc.py`` shows it.

``run`` is what its loop calls by name, ``evaluation`` the scores of a model on a data set,
``checkpoint`` and ``run_folder`` what lies on disk, ``published`` the way from a file to a model.
"""
