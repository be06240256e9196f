// Reading files and showing text from outside is one library's; whoever uses devices uses it too.
@_exported import AttentionFiles
