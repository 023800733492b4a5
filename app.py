from thalweg.app.main import main

main()
