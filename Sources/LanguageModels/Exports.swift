// A model's text and its configuration are named by types of these libraries.
@_exported import AttentionJSON
@_exported import AttentionTokenizers
