//! Posterior means of the counts by filtering forward and smoothing backward over hypotheses about the calcium.

use std::ops::Range;

use super::cells::Grid;
use super::filter::Step;
use super::hypotheses::{FrameStart, Node, Smoother};
use super::lookahead::Frame;
use super::{CountModel, Sensor, Start, Trace};

/// How many deviations the calcium before a trace that starts in mid-decay may be off, and most hypotheses about it.
const MAX_STARTS: usize = 2048;
const START_SDS: f64 = 5.0;
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
    /// Σ E[(x_t − f(c_t))² | the trace] over the frames with data.
    pub squared_error: f64,
    /// ln p(trace | μ).
    pub log_evidence: f64,
    /// The probability of what was dropped as negligible, about, mean over frames.
    pub discarded: f64,
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

    /// [`SmoothedCounts::log_evidence`] alone: ln p(trace | μ), without the way back.
    pub fn log_evidence(&self, trace: Trace<'_>, smoother: &mut Smoother<P>) -> f64 {
        let mut evidence = 0.0;
        self.filter_in_blocks(trace, smoother, BLOCK, |_, _, steps| {
            evidence += steps.log_evidence;
        });
        evidence
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
        self.filter_in_blocks(trace, smoother, block, |smoother, [x, kept], steps| {
            smoothed.log_evidence += steps.log_evidence;
            smoothed.discarded += steps.discarded / n as f64;
            smoother.pass_back(self, &trace.x[x], kept, &mut smoothed);
        });
        smoothed
    }

    /// Filters block by block, each with the frames that it looks ahead: `each` is told both spans, and what the frames of the
    /// block summed to, when they are there.
    fn filter_in_blocks(
        &self,
        trace: Trace<'_>,
        smoother: &mut Smoother<P>,
        block: usize,
        mut each: impl FnMut(&mut Smoother<P>, [Range<usize>; 2], Step),
    ) {
        let n = trace.x.len();
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
            let mut steps = Step::default();
            for bin in first..horizon {
                let (x, frame) = (f64::from(trace.x[bin]), smoother.messages[bin - first]);
                let step = smoother.step(self, &grid, x, &frame);
                if bin < end {
                    steps.log_evidence += step.log_evidence;
                    steps.discarded += step.discarded;
                }
            }
            each(smoother, [first..horizon, first..end], steps);
            nodes = smoother.nodes_after(end - first).to_vec();
            first = end;
        }
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

    /// From the last frame of the block to its first; writes what is found of the frames `kept`.
    fn pass_back<S: Sensor>(
        &mut self,
        model: &CountModel<P, S>,
        x: &[f32],
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
                let [mean, square] = fluorescence(model, frame_nodes, &self.backward);
                smoothed.fluorescence[bin] = mean as f32;
                let x = f64::from(x[frame]);
                if !x.is_nan() {
                    smoothed.squared_error += (x * x - 2.0 * x * mean + square).max(0.0);
                }
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

/// Posterior mean of the noiseless fluorescence and of its square.
fn fluorescence<const P: usize, S: Sensor>(
    model: &CountModel<P, S>,
    nodes: &[Node<P>],
    backward: &[f64],
) -> [f64; 2] {
    let [mut total, mut sum, mut squares] = [0.0; 3];
    for (node, ahead) in nodes.iter().zip(backward) {
        let weight = node.weight * ahead;
        let fluorescence = model.sensor.fluorescence(node.state[0]);
        total += weight;
        sum += weight * fluorescence;
        squares += weight * fluorescence * fluorescence;
    }
    [sum / total, squares / total]
}
