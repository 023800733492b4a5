"""The script that Streamlit runs. It lies apart from ``pages``, a folder name that Streamlit would take for its own."""

from thalweg.app.main import main

if __name__ == "__main__":
    main()
