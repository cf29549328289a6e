"""The pages of the three roles, drawn on the server; they work without JavaScript.

Pages hold no logic: they ask the same services as the JSON API and hand what they get to a template.  ``console`` draws
(and knows the look of errors and of the login), ``the_round`` tells where a step stands among the seven, ``formats``
turns figures into words, ``step_pages`` are the pages of single steps, and each role has a module with its start page.
"""
