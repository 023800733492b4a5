"""Plugins: what is loaded, what failed, and everything that is registered."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd
import streamlit as st

from thalweg.app.data import registry
from thalweg.app.sidebar import select
from thalweg.contracts import Component, Optimizer, Probe, Problem
from thalweg.present.components import described_problem, problem_lines
from thalweg.present.sentences import count, plain
from thalweg.present.tables import options
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
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height="content")
    st.subheader("What there is")
    _browse(here)


def _failure(record: PluginRecord) -> None:
    st.error(plain(f"Plugin {record.name!r} ({record.origin}) failed to load: {record.error}"))
    with st.expander(f"Traceback of {record.name}"):
        st.code(record.traceback or "none", language="python")


def _registered(record: PluginRecord) -> str:
    if record.error:
        return "failed"
    parts = [count(len(names), kind[:-1], kind) for kind, names in record.registered.items()]
    return ", ".join(parts) or "nothing"


def _browse(here: Registry) -> None:
    kinds = [kind for kind in KINDS if here.entries(kind)]
    left, right = st.columns(2)
    with left:
        kind = select("kind", kinds, "kind")
    entries = {entry.name: entry for entry in here.entries(kind)}
    with right:
        entry = entries[select("name", list(entries), "name")]
    rows = [{"name": one.name, "summary": _summary(one), "plugin": one.plugin.name} for one in entries.values()]
    _describe(kind, entry)
    st.subheader(f"All {kind}")
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height="content")


def _summary(entry: Entry) -> str:
    if isinstance(entry.component, Path):
        table = tomllib.loads(entry.component.read_text(encoding="utf-8"))
        return str(table.get("summary", ""))
    return str(entry.component.summary)


def _describe(kind: str, entry: Entry) -> None:
    with st.container(border=True):
        st.markdown(f"**{entry.name}**: {_summary(entry)}")
        component = entry.component
        if isinstance(component, Path):
            st.code(component.read_text(encoding="utf-8"), language="toml")
        elif isinstance(component, Component):
            _component(kind, component)
        st.caption(f"Provided by {entry.plugin.name} {entry.plugin.version} ({entry.plugin.origin}).")


def _component(kind: str, component: Component) -> None:
    if component.equation:
        st.code(component.equation, language=None, wrap_lines=True)
    if component.description:
        st.markdown(component.description)
    if component.source:
        st.markdown(f"Source: {component.source}")
    if isinstance(component, Optimizer) and component.cost:
        st.markdown(f"Cost of a step: {component.cost}")
    if isinstance(component, Problem):
        lines = problem_lines(described_problem(component))
        lines["metrics"] = ", ".join(f"{metric.name} ({metric.better} is better)" for metric in component.metrics)
        st.markdown("\n".join(f"- {key}: {text}" for key, text in lines.items() if text))
    if isinstance(component, Probe):
        st.markdown(f"Measured at: {', '.join(component.when)}. Columns of its table:")
        rows = [{"column": one.name, "unit": one.unit or "–", "what": one.summary} for one in component.columns]
        st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height="content")
    if component.options:
        st.markdown("Hyperparameters:" if kind == "optimizers" else "Options:")
        st.dataframe(options(component), hide_index=True, width="stretch", height="content")
