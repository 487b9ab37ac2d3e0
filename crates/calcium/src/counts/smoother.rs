//! Posterior means of the counts by filtering forward and smoothing backward over hypotheses about the calcium.

use std::ops::Range;

use super::cells::{Cells, Grid, MAX_CELLS};
use super::choices::{Peak, ln_factorial};
use super::dynamics::State;
use super::lookahead::Frame;
use super::{CountModel, Sensor, Start, Trace};

/// Hypotheses this much less likely than the best are dropped, as a logarithm: one in a hundred thousand.
const NEGLIGIBLE: f64 = 11.5;
/// Where even later frames cannot save a hypothesis: its weight would leave the range of an `f32`.
const HOPELESS: f64 = 75.0;
/// Most counts looked at on either side of a hypothesis' likeliest.
const MAX_SIDE: usize = 1024;
/// How many deviations the calcium before a trace that starts in mid-decay may be off, and most hypotheses about it.
const MAX_STARTS: usize = 2048;
const START_SDS: f64 = 5.0;
/// Where counts are so vague that more than this many proposals would be made, cells grow.
const MAX_PROPOSALS: usize = 16_384;
const MIN_CELLS: usize = 32;
/// Frames of a long trace that are smoothed together.
const BLOCK: usize = 512;
/// What is left of a spike after the frames that a block looks ahead, and the most of these.
const FORGOTTEN: f64 = 0.02;
const MAX_AHEAD: usize = 2048;

/// What Bayes' rule says of the counts of one trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SmoothedCounts {
    /// E[s_t | the trace], counts per frame, `[time]`.
    pub expected: Vec<f32>,
    /// Their variance, `[time]`.
    pub variance: Vec<f32>,
    /// E[f(c_t) | the trace], `[time]`.
    pub fluorescence: Vec<f32>,
    /// ln p(trace | μ).
    pub log_evidence: f64,
    /// The probability of all that was dropped as negligible, about.
    pub discarded: f64,
}

/// A hypothesis: a state of the calcium, its probability given the trace so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<const P: usize> {
    pub state: State<P>,
    pub weight: f64,
}

/// A count that leads from a hypothesis of one frame to one of the next, and its likelihood.
#[derive(Clone, Copy, Debug)]
struct Edge {
    parent: u32,
    child: u32,
    count: f32,
    weight: f32,
}

/// A count that might follow a hypothesis.
#[derive(Clone, Copy, Debug)]
struct Proposal<const P: usize> {
    state: State<P>,
    /// ln of their joint probability with the trace so far.
    log_weight: f64,
    /// The same with all of the trace, in the Gaussian view of later frames.
    log_ahead: f64,
    parent: u32,
    count: f32,
}

/// Where the nodes and edges of a frame begin.
#[derive(Clone, Copy, Debug)]
struct FrameStart {
    node: usize,
    edge: usize,
}

/// The memory that smoothing needs: reused from trace to trace.
#[derive(Debug)]
pub struct Smoother<const P: usize> {
    ln_factorials: Vec<f64>,
    /// The Gaussian view ahead, for each frame of the block.
    messages: Vec<Frame<P>>,
    nodes: Vec<Node<P>>,
    edges: Vec<Edge>,
    frames: Vec<FrameStart>,
    proposals: Vec<Proposal<P>>,
    cells: Cells,
    backward: Vec<f64>,
    backward_before: Vec<f64>,
}

impl<const P: usize> Default for Smoother<P> {
    fn default() -> Self {
        Self {
            ln_factorials: (0..256).map(ln_factorial).collect(),
            messages: Vec::new(),
            nodes: Vec::new(),
            edges: Vec::new(),
            frames: Vec::new(),
            proposals: Vec::new(),
            cells: Cells::default(),
            backward: Vec::new(),
            backward_before: Vec::new(),
        }
    }
}

impl<const P: usize, S: Sensor> CountModel<P, S> {
    /// Posterior means of the counts and of the noiseless fluorescence.
    ///
    /// Every state of the calcium that the trace so far leaves likely is a hypothesis; those that no datum could tell
    /// apart are one. Forward and backward over them is exact but for what is dropped as negligible
    /// ([`SmoothedCounts::discarded`]) and the width of a hypothesis, a seventh of the noise; what the trace so far or
    /// the sampler's view of later frames holds for likely is kept. Linear in the trace, in
    /// bounded memory beside the result: long traces go in blocks that look some decay times ahead.
    ///
    /// # Source
    /// Baum, Petrie, Soules & Weiss 1970; hypotheses made and merged as in Fearnhead & Clifford 2003, section 3.
    pub fn smooth(&self, trace: Trace<'_>, smoother: &mut Smoother<P>) -> SmoothedCounts {
        self.smooth_in_blocks(trace, smoother, BLOCK)
    }

    pub(super) fn smooth_in_blocks(
        &self,
        trace: Trace<'_>,
        smoother: &mut Smoother<P>,
        block: usize,
    ) -> SmoothedCounts {
        let n = trace.x.len();
        let mut smoothed = SmoothedCounts {
            expected: vec![0.0; n],
            variance: vec![0.0; n],
            fluorescence: vec![0.0; n],
            ..SmoothedCounts::default()
        };
        let grid = Grid::new(&self.calcium, self.sensor.resolution());
        let ahead = self.frames_ahead();
        let mut nodes = self.first_nodes();
        let mut first = 0;
        while first < n {
            let horizon = n.min(first + block + ahead);
            let end = if horizon == n { n } else { first + block };
            smoother.begin(&nodes);
            let part = Trace {
                x: &trace.x[first..horizon],
                log_means: &trace.log_means[first..horizon],
            };
            smoother.messages.resize(part.x.len(), Frame::EMPTY);
            self.pass_back(part, &mut smoother.messages);
            for bin in first..horizon {
                let (x, frame) = (f64::from(trace.x[bin]), smoother.messages[bin - first]);
                let step = smoother.step(self, &grid, x, &frame);
                if bin < end {
                    smoothed.log_evidence += step.log_evidence;
                    smoothed.discarded += step.discarded;
                }
            }
            smoother.pass_back(self, first..end, &mut smoothed);
            nodes = smoother.nodes_after(end - first).to_vec();
            first = end;
        }
        smoothed
    }

    /// Frames after which a spike is as good as forgotten.
    fn frames_ahead(&self) -> usize {
        let [decay, _] = self.calcium.roots();
        let frames = FORGOTTEN.ln() / decay.max(1e-3).ln();
        // The cast takes what is infinite to the greatest number.
        (frames.ceil() as usize).clamp(8, MAX_AHEAD)
    }

    /// The hypotheses before the first frame.
    fn first_nodes(&self) -> Vec<Node<P>> {
        match self.start {
            Start::Rest => vec![Node {
                state: [0.0; P],
                weight: 1.0,
            }],
            Start::Decaying {
                direction,
                mean,
                variance,
            } => {
                let n = 2.0 * START_SDS * variance.sqrt() / self.sensor.resolution();
                let n = (n as usize).clamp(32, MAX_STARTS);
                let node = |index: usize| {
                    let z = START_SDS * (2.0 * (index as f64 + 0.5) / n as f64 - 1.0);
                    Node {
                        state: direction.map(|share| share * (mean + z * variance.sqrt())),
                        weight: (-0.5 * z * z).exp(),
                    }
                };
                (0..n).map(node).collect()
            }
        }
    }
}

/// What one frame adds.
struct Step {
    log_evidence: f64,
    discarded: f64,
}

impl<const P: usize> Smoother<P> {
    fn begin(&mut self, nodes: &[Node<P>]) {
        self.nodes.clear();
        self.edges.clear();
        self.frames.clear();
        self.nodes.extend_from_slice(nodes);
        let total: f64 = nodes.iter().map(|node| node.weight).sum();
        self.nodes.iter_mut().for_each(|node| node.weight /= total);
        self.frames.push(FrameStart { node: 0, edge: 0 });
    }

    /// The hypotheses after so many frames of the block.
    fn nodes_after(&self, n_frames: usize) -> &[Node<P>] {
        let first = self.frames[n_frames].node;
        let end = self.frames.get(n_frames + 1);
        &self.nodes[first..end.map_or(self.nodes.len(), |frame| frame.node)]
    }

    /// Takes in one more frame.
    fn step<S: Sensor>(
        &mut self,
        model: &CountModel<P, S>,
        grid: &Grid,
        x: f64,
        frame: &Frame<P>,
    ) -> Step {
        let parents = self.frames[self.frames.len() - 1].node;
        let [greatest, ahead] = self.propose(model, parents, x, frame);
        let mut dropped = 0.0;
        self.proposals.retain(|proposal| {
            let behind = greatest - proposal.log_weight;
            let keep = behind <= NEGLIGIBLE
                || (behind <= HOPELESS && proposal.log_ahead >= ahead - NEGLIGIBLE);
            if !keep {
                dropped += (proposal.log_weight - greatest).exp();
            }
            keep
        });
        let total = self.merge(parents, grid, greatest);
        let density = match x.is_nan() {
            true => 0.0,
            false => 0.5 * (model.sensor.precision() / std::f64::consts::TAU).ln(),
        };
        Step {
            log_evidence: greatest + total.ln() - frame.prior.mean + density,
            discarded: dropped / (total + dropped),
        }
    }

    /// Fills `proposals`: the counts after each hypothesis that the trace so far, or the Gaussian view of later
    /// frames, leaves likely. The greatest of both logarithms.
    fn propose<S: Sensor>(
        &mut self,
        model: &CountModel<P, S>,
        parents: usize,
        x: f64,
        frame: &Frame<P>,
    ) -> [f64; 2] {
        let candidate = Candidate {
            model,
            x,
            log_mean: frame.prior.log_mean,
            ln_factorials: &self.ln_factorials,
        };
        let mut falloff = None;
        let mut greatest = [f64::NEG_INFINITY; 2];
        self.proposals.clear();
        for (parent, node) in self.nodes[parents..].iter().enumerate() {
            let without = model.calcium.carry(node.state);
            let view = frame.message.along_spikes(&model.calcium, without);
            let falloff = *falloff.get_or_insert_with(|| view.falloff());
            let peak = Peak::find(&frame.prior, &view, falloff).best;
            let log_parent = node.weight.ln();
            let log_without = frame.message.log_density(without);
            let mut walk = |counts: &mut dyn Iterator<Item = usize>| {
                let mut before = [f64::NEG_INFINITY; 2];
                for count in counts.take(MAX_SIDE) {
                    let (state, log_prior, log_likelihood) = candidate.at(without, count);
                    let log_prior = log_parent + log_prior;
                    let logs = [
                        log_prior + log_likelihood,
                        log_prior + log_without + view.at(count as f64),
                    ];
                    self.proposals.push(Proposal {
                        state,
                        log_weight: logs[0],
                        log_ahead: logs[1],
                        parent: parent as u32,
                        count: count as f32,
                    });
                    let mut goes_on = false;
                    for which in 0..2 {
                        greatest[which] = greatest[which].max(logs[which]);
                        goes_on |= logs[which] >= greatest[which] - NEGLIGIBLE
                            || logs[which] > before[which];
                    }
                    if !goes_on {
                        break;
                    }
                    before = logs;
                }
            };
            walk(&mut (peak..));
            walk(&mut (0..peak).rev());
        }
        greatest
    }

    /// Makes hypotheses of the proposals, and edges; the sum of their weights relative to e^`greatest`.
    fn merge(&mut self, parents: usize, grid: &Grid, greatest: f64) -> f64 {
        let children = self.nodes.len();
        let n_parents = (children - parents).max(1);
        let most = MAX_PROPOSALS * n_parents / self.proposals.len().max(1);
        let most = most.clamp(MIN_CELLS, MAX_CELLS);
        let mut grid = *grid;
        let states = || self.proposals.iter().map(|proposal| &proposal.state);
        while !self.cells.place(&grid, states(), most) {
            grid = grid.coarser();
        }
        self.frames.push(FrameStart {
            node: children,
            edge: self.edges.len(),
        });
        let empty = Node {
            state: [0.0; P],
            weight: 0.0,
        };
        self.nodes.resize(children + self.cells.len(), empty);
        let mut total = 0.0;
        for (proposal, &child) in self.proposals.iter().zip(self.cells.places()) {
            let weight = (proposal.log_weight - greatest).exp();
            total += weight;
            let parent_weight = self.nodes[parents + proposal.parent as usize].weight;
            let node = &mut self.nodes[children + child as usize];
            node.weight += weight;
            for (sum, c) in node.state.iter_mut().zip(proposal.state) {
                *sum += weight * c;
            }
            self.edges.push(Edge {
                parent: proposal.parent,
                child,
                count: proposal.count,
                weight: (weight / parent_weight) as f32,
            });
        }
        for node in &mut self.nodes[children..] {
            node.state = node.state.map(|sum| sum / node.weight);
            node.weight /= total;
        }
        total
    }

    /// From the last frame of the block to its first; writes what is found of the frames `kept`.
    fn pass_back<S: Sensor>(
        &mut self,
        model: &CountModel<P, S>,
        kept: Range<usize>,
        smoothed: &mut SmoothedCounts,
    ) {
        let n_frames = self.frames.len() - 1;
        let (mut node_end, mut edge_end) = (self.nodes.len(), self.edges.len());
        self.backward.clear();
        self.backward
            .resize(node_end - self.frames[n_frames].node, 1.0);
        for frame in (0..n_frames).rev() {
            let FrameStart { node, edge } = self.frames[frame + 1];
            let parents = self.frames[frame].node..node;
            let frame_nodes = &self.nodes[node..node_end];
            let frame_edges = &self.edges[edge..edge_end];
            if frame < kept.len() {
                let bin = kept.start + frame;
                smoothed.fluorescence[bin] = mean_fluorescence(model, frame_nodes, &self.backward);
            }
            self.backward_before.clear();
            self.backward_before.resize(parents.len(), 0.0);
            let mut moments = [0.0; 3];
            for link in frame_edges {
                let (parent, child) = (link.parent as usize, link.child as usize);
                let ahead = f64::from(link.weight) * self.backward[child];
                self.backward_before[parent] += ahead;
                let (count, weight) = (
                    f64::from(link.count),
                    self.nodes[parents.start + parent].weight,
                );
                let both = ahead * weight;
                moments[0] += both;
                moments[1] += both * count;
                moments[2] += both * count * count;
            }
            let [total, mean, square] = moments;
            if frame < kept.len() {
                let bin = kept.start + frame;
                let mean = mean / total;
                smoothed.expected[bin] = mean as f32;
                smoothed.variance[bin] = (square / total - mean * mean).max(0.0) as f32;
            }
            self.backward_before
                .iter_mut()
                .for_each(|value| *value /= total);
            std::mem::swap(&mut self.backward, &mut self.backward_before);
            (node_end, edge_end) = (node, edge);
        }
    }
}

/// What a frame says of a count after a hypothesis.
struct Candidate<'a, const P: usize, S> {
    model: &'a CountModel<P, S>,
    x: f64,
    log_mean: f64,
    ln_factorials: &'a [f64],
}

impl<const P: usize, S: Sensor> Candidate<'_, P, S> {
    /// The state with the count, and the logarithms of what prior and frame say of it.
    fn at(&self, without: State<P>, count: usize) -> (State<P>, f64, f64) {
        let state = self.model.with_spikes(without, count);
        let log_prior = match count {
            // Where the mean is 0, its logarithm is infinite.
            0 => 0.0,
            _ => {
                let table = self.ln_factorials.get(count).copied();
                count as f64 * self.log_mean - table.unwrap_or_else(|| ln_factorial(count))
            }
        };
        let log_likelihood = self.model.log_likelihood(self.x, state[0]);
        (state, log_prior, log_likelihood)
    }
}

fn mean_fluorescence<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    nodes: &[Node<P>],
    backward: &[f64],
) -> f32 {
    let (mut total, mut sum) = (0.0, 0.0);
    for (node, ahead) in nodes.iter().zip(backward) {
        let weight = node.weight * ahead;
        total += weight;
        sum += weight * model.sensor.fluorescence(node.state[0]);
    }
    (sum / total) as f32
}
