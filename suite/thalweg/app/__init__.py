"""The Streamlit app: reads results, calls scoring, draws charts."""
