"""The Streamlit app: reads results and draws what ``thalweg.present`` makes of them."""
