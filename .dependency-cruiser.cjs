// The layering of ARCHITECTURE.md: each folder of lib/ may import only the folders listed beside it.
const allowed = {
  data: [],
  models: ['data'],
  predict: ['models', 'data'],
  evaluate: ['predict', 'models', 'data'],
  backend: [],
  training: ['backend', 'evaluate', 'predict', 'models', 'data'],
  compress: ['training', 'evaluate', 'predict', 'models', 'data'],
  distill: ['training', 'evaluate', 'predict', 'models', 'data'],
  report: ['evaluate', 'data'],
  recipe: ['report', 'distill', 'compress', 'training', 'evaluate', 'predict', 'models', 'data'],
  tune: ['recipe', 'report', 'evaluate', 'data'],
  cli: ['tune', 'recipe', 'report', 'distill', 'compress', 'training', 'evaluate', 'predict', 'models', 'data'],
};

const layering = Object.entries(allowed).map(([folder, others]) => ({
  name: `layering-${folder}`,
  comment: `lib/${folder} may import ${others.length ? others.map((o) => `lib/${o}`).join(', ') : 'no other folder of lib'}, and bindings`,
  severity: 'error',
  from: { path: `^lib/${folder}/` },
  to: {
    path: '^(lib|test|bench|examples|scripts)/',
    pathNot: [`^lib/(${[folder, ...others].join('|')})/`, '^lib/(step|options|atomic)\\.ts$'],
    dependencyTypesNot: ['type-only'],
  },
}));

module.exports = {
  forbidden: [
    ...layering,
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'predict-without-tensorflow',
      comment: 'prediction never loads TensorFlow.js',
      severity: 'error',
      from: { path: '^lib/(predict|models|data|evaluate)/' },
      to: { path: '@tensorflow/' },
    },
    { name: 'bindings-below-lib', severity: 'error', from: { path: '^bindings/' }, to: { path: '^lib/' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
