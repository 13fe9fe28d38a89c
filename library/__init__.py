"""The app side: a library's manifest, its loading, running, and switching between variants."""
