"""Docs: the documentation that ships with the package, so that it opens offline."""

from __future__ import annotations

import streamlit as st

from thalweg.app.sidebar import select
from thalweg.present import guide
from thalweg.present.sentences import plain


def show() -> None:
    """Draw the page."""
    names = guide.pages()
    if not names:
        st.title("Docs")
        st.write("The documentation is not installed with this package.")
        return
    with st.sidebar:
        name = select("page", names, "doc", names[0])
    try:
        text = guide.text(name)
    except OSError as error:
        st.error(plain(f"docs/{name}.md cannot be read: {error.strerror}"))
        return
    st.markdown(text)
