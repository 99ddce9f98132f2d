import { defineConfig } from 'vitest/config'

// Spawns the built programs. Two files at a time: they wait for processes more than they work, and take free ports.
export default defineConfig({
  test: {
    include: ['test/e2e/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    pool: 'forks',
  },
})
