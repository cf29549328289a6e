"""A device: it learns from its owner's pictures and sends nothing but masked reports.

``settings`` and ``identity`` say who it is; ``client`` talks to both servers; ``store`` keeps what must survive a
power cut; ``pictures`` and ``learning`` turn the data folder into a local head; ``rounds`` are steps 2 and 3 and what
follows them; ``agent`` does by itself what needs no owner; ``owner_api`` and ``steps`` are the owner's side; ``role``
joins them, ``app`` is the web application.
"""
