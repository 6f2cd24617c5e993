"""Static files under names with a hash (the setting STATIC_HASHED)."""

from whitenoise.storage import CompressedManifestStaticFilesStorage

# An import in one of our JavaScript modules: `import … from './name.js'` or `import './name.js'`.
MODULE_IMPORT = r"""(?m)(?P<matched>(?P<start>^import [^'"\n]*)'(?P<url>\./[a-z]+\.js)')"""


class HashedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]  # WhiteNoise has no types
    """Also writes the hashed names into the imports between our modules.

    Otherwise app.js would import modules under their plain names, and a browser could mix new modules with old ones.
    Django's own switch `support_js_module_import_aggregation` fails on comments in django-htmx that look like imports.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("*.js", ((MODULE_IMPORT, "%(start)s'%(url)s'"),)),
    )
    max_post_process_passes = 10  # one for each step of the longest chain of imports, and one more
