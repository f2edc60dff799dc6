"""For PyInstaller: leave Django out of programs that do not use it, where it is installed.

DjangoCache imports it. A program that uses DjangoCache imports Django too, and keeps it.
"""

excludedimports = ['asgiref', 'django']
