public enum LanguageModelsModule {}
