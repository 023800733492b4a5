"""Plugins: which are loaded, which failed, and all components that they registered."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from thalweg.app.data import registry
from thalweg.app.drawing import show_frame, show_table
from thalweg.app.sidebar import select
from thalweg.contracts import Component, Probe
from thalweg.present import components
from thalweg.present.sentences import capital, count, described, plain
from thalweg.registry import KINDS, Entry, PluginRecord, Registry


def show() -> None:
    """Draw the page."""
    st.title("Plugins")
    here = registry()
    for record in here.plugins:
        if record.error:
            _failure(record)
    rows = [
        {"plugin": record.name, "version": record.version, "origin": record.origin, "registered": _registered(record)}
        for record in here.plugins
    ]
    show_frame(pd.DataFrame(rows))
    st.subheader("Components")
    _browse(here)


def _failure(record: PluginRecord) -> None:
    st.error(plain(f"Plugin {record.name!r} ({record.origin}) failed to load: {record.error}"))
    with st.expander(f"Traceback of {record.name}"):
        st.code(record.traceback or "none", language="python")


def _registered(record: PluginRecord) -> str:
    if record.error:
        return "failed"
    parts = [count(len(names), kind[:-1], kind) for kind, names in record.registered.items()]
    return "; ".join([", ".join(parts) or "nothing", *record.notes])


def _browse(here: Registry) -> None:
    kinds = [kind for kind in KINDS if here.entries(kind)]
    left, right = st.columns(2)
    with left:
        kind = select("kind", kinds, "kind")
    entries = {entry.name: entry for entry in here.entries(kind)}
    with right:
        entry = entries[select("name", list(entries), "name")]
    rows = [
        {"name": one.name, "summary": components.summary(one), "plugin": one.plugin.name} for one in entries.values()
    ]
    _describe(kind, entry)
    st.subheader(f"All {kind}")
    show_frame(pd.DataFrame(rows))


def _describe(kind: str, entry: Entry) -> None:
    with st.container(border=True):
        document = components.described(kind, entry)
        st.markdown(f"**{plain(entry.name)}**: {plain(document['summary'])}")
        if isinstance(entry.component, Component):
            _component(kind, entry.component, document)
        else:
            st.code(document["text"], language="toml")
        st.caption(f"Provided by {entry.plugin.name} {entry.plugin.version} ({entry.plugin.origin}).")


def _component(kind: str, component: Component, document: components.Document) -> None:
    facts = components.facts(component, document)
    # the summary and the provider stand above and below
    for label in ("what", "plugin"):
        facts.pop(label)
    if equation := facts.pop("equation", ""):
        st.code(equation, language=None, wrap_lines=True)
    facts.pop("about", None)
    if component.description:
        st.markdown(described(document["description"]))
    st.markdown("\n".join(f"- {label}: {plain(text)}" for label, text in facts.items()))
    if isinstance(component, Probe):
        st.markdown("Columns of its table:")
        show_table(components.measured_columns(component))
    if component.options:
        st.markdown(f"{capital(components.options_title(kind))}:")
        show_table(components.options(component))
