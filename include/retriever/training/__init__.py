"""The steps of a training, from a published snapshot to a registered model. Each can be killed and repeated.

``plan`` fixes what a training starts from, ``queries`` writes the queries of the episodes, ``pairing`` makes training
pairs of them, and ``model`` fine-tunes and registers.
"""
