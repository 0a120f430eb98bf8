"""Phantom cohorts: synthetic brain MRI with complete ground truth, made from the atlas that nilearn ships; and CT.

`atlas` loads the templates, `anatomy` deforms them into subjects, `lesions` adds pathology, `scanner` turns tissue into
images, `presets` holds the cohorts that are imitated and makes a case, `source` writes cases as NIfTI files. `abdomen`
makes CT of the trunk, without an atlas.
"""
