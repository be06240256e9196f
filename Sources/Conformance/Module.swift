public enum ConformanceModule {}
