import { defineConfig } from 'vitest/config'

// Everything but the end-to-end tests, which need the built dist/ (vitest.e2e.config.ts).
export default defineConfig({
  test: {
    include: ['test/{unit,property,vectors,flow,hostile,cli}/**/*.test.ts'],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    pool: 'forks',
  },
})
