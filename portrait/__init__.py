"""The parts of the project, in the order in which data flows; see docs/extending.md.

    errors cli backend util    used by all other parts, and importing none of them
    io, tflite                 files, pictures and videos; the bytes of .tflite files
    matting, losses            algorithms on arrays; loss terms
    models                     networks and their weights, with network.py and fast_scnn.py
    data                       pairs and targets, with data_generator.py and augmentation.py
    inference                  a trained network as a function from picture to alpha
    training, evaluation       batches to the folder of a run; scores (metrics.py)
    export                     .tflite and Core ML files
    style_transfer, effects    painting; photos and videos with a matte
    prepare, commands          better training data; the verbs of the scripts

A module imports only from its own part and from parts above it.
"""
