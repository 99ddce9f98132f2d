import { defineConfig } from 'vitest/config'

// Spawns the built programs; one file at a time, because they share two cores and real ports.
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    fileParallelism: false,
    pool: 'forks',
  },
})
